// npm run bench [-- NAME] [--json]: installs what is missing, then measures.
import { ensureDependencies, requireNode } from './install.mjs';

requireNode();
ensureDependencies((line) => console.error(line));
const { register } = await import('tsx/esm/api');
register();
await import('../bench/run.ts');
