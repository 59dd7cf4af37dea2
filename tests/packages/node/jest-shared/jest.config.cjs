module.exports = { globalSetup: 'toril/jest/shared', testMatch: ['**/*.test.*'], transform: {} };
