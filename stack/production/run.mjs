// Entry point of the application's image: `run.mjs workers/control.ts`. What NAME_FILE points to becomes NAME, so that
// secrets come from files and stay out of the container's settings.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { register } from 'tsx/esm/api';

for (const [name, file] of Object.entries(process.env)) {
  if (name.endsWith('_FILE') && file)
    process.env[name.slice(0, -'_FILE'.length)] = readFileSync(file, 'utf8').trim();
}
const entry = process.argv[2];
if (entry === undefined) throw new Error('name the program to run, e.g. workers/control.ts');
process.argv.splice(1, 2, resolve(entry));
register();
await import(pathToFileURL(resolve(entry)).href);
