// A signed-in page in a real Chromium. Prints what the script found as one line of JSON.
'use strict';
const { chromium } = require('playwright-core');

/** Signs in at `url` and hands the page to `visit`; everything the browser complains of is kept. */
exports.signedIn = async function signedIn([url, name, password], visit) {
    const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM || undefined,
        args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-sync',
            '--disable-component-update', '--no-first-run'],
    });
    const errors = [];
    try {
        const page = await browser.newPage();
        page.setDefaultTimeout(20_000);
        page.on('pageerror', (error) => errors.push(String(error)));
        page.on('console', (message) => {
            if (message.type() === 'error') errors.push(message.text());
        });
        page.on('request', (request) => {
            if (!request.url().startsWith(url) && !request.url().startsWith('data:')) {
                errors.push(`request to elsewhere: ${request.url()}`);
            }
        });
        await page.goto(url);
        await page.getByLabel('Name').fill(name);
        await page.getByLabel('Password').fill(password);
        await page.getByRole('button', { name: 'Sign in' }).click();
        const found = await visit(page);
        process.stdout.write(JSON.stringify({ errors, ...found }) + '\n');
    } finally {
        await browser.close();
    }
};
