module.exports = { setupFilesAfterEnv: ['toril/jest'], testMatch: ['**/*.test.*'], transform: {} };
