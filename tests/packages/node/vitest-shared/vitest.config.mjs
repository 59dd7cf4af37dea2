export default {
  test: { globalSetup: ['toril/vitest/shared'], maxWorkers: 2, include: ['**/*.test.mjs'] },
};
