// npm run backup: plain JavaScript until the dependencies are there, TypeScript from then on.
import { ensureDependencies, requireNode } from './install.mjs';

requireNode();
ensureDependencies((line) => console.log(`  dependencies   ${line}`));
const { register } = await import('tsx/esm/api');
register();
const { main } = await import('./backup.ts');
process.exitCode = await main(process.argv.slice(2), process.env);
