import { server } from 'toril/jest';

test('an ES module has the same server', async () => {
  expect(await server.command('PING')).toBe('PONG');
});
