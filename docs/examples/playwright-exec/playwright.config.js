// `toril exec` has set REDIS_URL for this process and for all that it starts.
export default {
  testMatch: '*.spec.js',
  use: { baseURL: 'http://127.0.0.1:3211' },
  webServer: { command: 'node app.js', url: 'http://127.0.0.1:3211/health' },
};
