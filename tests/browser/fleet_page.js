// fleet_page.js URL NAME PASSWORD HOST: the host's row on the fleet page, then what its own page says.
'use strict';
const { signedIn } = require('./session.js');

const [url, name, password, host] = process.argv.slice(2);

signedIn([url, name, password], async (page) => {
    const row = page.locator('table.fleet tbody tr', { hasText: host });
    await row.filter({ hasText: 'safe' }).waitFor();
    const found = { row: await row.innerText() };
    await row.getByRole('link', { name: host }).click();
    await page.locator('table.sources', { hasText: 'selected' }).waitFor();
    found.hostPage = await page.locator('main').innerText();
    return found;
}).catch((error) => {
    console.error(error);
    process.exit(1);
});
