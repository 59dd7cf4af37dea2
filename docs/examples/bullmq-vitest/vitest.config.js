export default { test: { setupFiles: ['toril/vitest'] } };
