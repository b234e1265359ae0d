// npm run demo: plain JavaScript until the dependencies are there, TypeScript from then on.
import { ensureDependencies, requireNode } from './install.mjs';

requireNode();
// Standard output belongs to the summary with --json.
ensureDependencies((line) => console.error(`  dependencies   ${line}`));
const { register } = await import('tsx/esm/api');
register();
const { main } = await import('./demo.ts');
await main(process.argv.slice(2), process.env);
