module.exports = {
  globalSetup: 'toril/jest/shared',
  globalTeardown: './counted.cjs',
  testMatch: ['**/*.test.*'],
  transform: {},
};
