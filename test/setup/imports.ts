import { existsSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, posix } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';

/** One import of a file; `isType`: it leaves nothing in the code that runs. Null: the path is computed. */
export interface FoundImport {
  readonly path: string | null;
  readonly isType: boolean;
}

interface Rule {
  /** layers it may import; `type`: by `import type` alone */
  readonly layers: Readonly<Record<string, 'value' | 'type'>>;
  /** packages and modules of Node it may import; null = any */
  readonly outside: readonly string[] | null;
}

/** The import rule: schemas ← domain ← {db, devices, workflows} ← activities ← workers; api beside them. */
export const LAYERS = {
  schemas: { layers: {}, outside: null },
  // decisions: no I/O
  domain: { layers: { schemas: 'type' }, outside: ['node:crypto', 'canonicalize'] },
  db: { layers: { schemas: 'value', domain: 'value' }, outside: null },
  devices: { layers: { schemas: 'value', domain: 'value' }, outside: null },
  workflows: {
    layers: { schemas: 'type', domain: 'value', activities: 'type' },
    outside: ['@temporalio/workflow', '@temporalio/common'],
  },
  activities: {
    layers: { schemas: 'value', domain: 'value', db: 'value', devices: 'value', workflows: 'value' },
    outside: null,
  },
  workers: {
    layers: {
      schemas: 'value',
      domain: 'value',
      db: 'value',
      devices: 'value',
      workflows: 'value',
      activities: 'value',
    },
    outside: null,
  },
  api: { layers: { schemas: 'value', domain: 'value', db: 'value', workflows: 'value' }, outside: null },
} as const satisfies Record<string, Rule>;

export type Layer = keyof typeof LAYERS;

/** Clients know a workflow by its name and messages, never by its code. */
const OF_WORKFLOWS_FOR_CLIENTS = /^workflows\/(ids\.ts|messages\/)/;

/** Every import of a source: static, dynamic, re-exported, required, and types named in place. */
export function importsOf(file: string, source: string): FoundImport[] {
  const { program, errors } = parseSync(file, source);
  if (errors[0]) throw new Error(`${file}: ${errors[0].message}`);
  const found: FoundImport[] = [];
  const dynamic = (argument: { readonly type: string; readonly value?: unknown } | undefined) =>
    found.push({ path: typeof argument?.value === 'string' ? argument.value : null, isType: false });
  new Visitor({
    // `import { type A }` leaves an import without names behind: only `import type` leaves nothing.
    ImportDeclaration: ({ source: { value }, importKind }) => {
      found.push({ path: value, isType: importKind === 'type' });
    },
    ExportNamedDeclaration: ({ source: from, exportKind }) => {
      if (from !== null) found.push({ path: from.value, isType: exportKind === 'type' });
    },
    ExportAllDeclaration: ({ source: { value }, exportKind }) => {
      found.push({ path: value, isType: exportKind === 'type' });
    },
    ImportExpression: ({ source: from }) => {
      dynamic(from);
    },
    TSImportType: ({ source: { value } }) => {
      found.push({ path: value, isType: true });
    },
    CallExpression: ({ callee, arguments: [first] }) => {
      if (callee.type === 'Identifier' && callee.name === 'require') dynamic(first);
    },
  }).visit(program);
  return found;
}

/**
 * What a source breaks of the import rule, one sentence each.
 * @param root folder of the repository
 * @param file path below `root`, with `/`
 */
export function mistakesOf(root: string, file: string, source: string): string[] {
  const layer = Object.keys(LAYERS).find((name): name is Layer => file.startsWith(`${name}/`));
  if (layer === undefined) return [];
  const rule: Rule = LAYERS[layer];
  return importsOf(file, source).flatMap(({ path, isType }): string[] => {
    const say = (what: string) => [`${file}: ${what}`];
    if (path === null) return say('an import that is computed cannot be checked');
    if (!path.startsWith('.')) {
      const mayBe = rule.outside === null || rule.outside.includes(path);
      return mayBe ? [] : say(`${layer} may not import ${isBuiltin(path) ? path : `the package ${path}`}`);
    }
    const target = posix.join(posix.dirname(file), path);
    if (!existsSync(join(root, target))) return say(`${path} does not exist`);
    const other = target.split('/')[0] ?? '';
    if (other === layer) return [];
    const allowed = rule.layers[other];
    if (allowed === undefined) return say(`${layer} may not import ${other} (${path})`);
    if (allowed === 'type' && !isType) return say(`${layer} may import ${other} as types only (${path})`);
    if (layer === 'api' && other === 'workflows' && !OF_WORKFLOWS_FOR_CLIENTS.test(target)) {
      return say(`api may not import ${target}`);
    }
    return [];
  });
}
