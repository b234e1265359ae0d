// npm run faults [-- --sagas N --kills N --seed N]: installs what is missing, then runs the campaign.
import { ensureDependencies, requireNode } from './install.mjs';

requireNode();
ensureDependencies((line) => console.log(`dependencies: ${line}`));
const { register } = await import('tsx/esm/api');
register();
await import('../test/faults/campaign/run.ts');
