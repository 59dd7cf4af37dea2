// Playwright's requests stand for the browser here, so that the example needs none.
import { expect, test } from '@playwright/test';

test('who signs up gets a letter', async ({ request }) => {
  const answer = await request.post('/signups', { data: 'ada@example.com' });
  expect(answer.ok()).toBe(true);
  await expect
    .poll(async () => (await request.get('/sent')).json())
    .toContain('ada@example.com');
});
