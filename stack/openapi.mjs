// npm run openapi: prints the OpenAPI document of all that is built, and starts nothing.
import { ensureDependencies, requireNode } from './install.mjs';

requireNode();
ensureDependencies((line) => console.error(`dependencies: ${line}`));
const { register } = await import('tsx/esm/api');
register();
const { openApiDocument } = await import('../api/openapi-document.ts');
console.log(JSON.stringify(await openApiDocument(), null, 2));
