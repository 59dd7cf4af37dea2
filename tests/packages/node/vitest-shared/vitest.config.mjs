export default {
  test: { globalSetup: ['toril/vitest/shared', './counted.mjs'], include: ['**/*.test.mjs'] },
};
