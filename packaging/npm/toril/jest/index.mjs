// The ES module form of index.cjs.
import exported from './index.cjs';

export const { server } = exported;
