export default {
  test: { setupFiles: ['toril/vitest'], maxWorkers: 4, include: ['**/*.test.mjs'] },
};
