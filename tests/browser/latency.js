// latency.js URL NAME PASSWORD HOST SECONDS: watches the host's page and prints, for every window that it
// shows, when the browser showed it (ms since 1970) and the exact lower end in ns, which names the sample.
'use strict';
const { signedIn } = require('./session.js');

const [url, name, password, host, seconds] = process.argv.slice(2);

signedIn([url, name, password], async (page) => {
    await page.locator('table.fleet tbody').getByRole('link', { name: host, exact: true }).click();
    await page.locator('table.sources').waitFor();
    const shown = await page.evaluate((forMs) => new Promise((resolve) => {
        const seen = new Map();
        const look = () => {
            const lower = document.querySelector('#facts dd[title]')?.title.match(/[+−]?\d+/)?.[0];
            if (lower && !seen.has(lower)) seen.set(lower, Date.now());
        };
        look();
        const first = [...seen.keys()];
        new MutationObserver(look).observe(document.querySelector('main'),
            { subtree: true, childList: true, attributes: true, characterData: true });
        setTimeout(() => {
            first.forEach((lower) => seen.delete(lower)); // was there before we looked
            resolve([...seen].map(([lower, at]) => [Number(lower.replace('−', '-').replace('+', '')), at]));
        }, forMs);
    }), Number(seconds) * 1000);
    return { shown };
}).catch((error) => {
    console.error(error);
    process.exit(1);
});
