import { readFileSync } from 'node:fs';
import type { Profiler } from 'node:inspector';
import { SourceMap } from 'node:module';
import { join } from 'node:path';
import { parseSync } from 'oxc-parser';

/** One way the code may go: a function, a side of a decision, a case, a handler of failures. */
export interface CodeBranch {
  /** below the root, e.g. `workflows/turn.ts` */
  readonly file: string;
  /** from 1 on */
  readonly line: number;
  readonly column: number;
  /** which way of the construct that stands there */
  readonly way: string;
  /** the line as it stands in the source */
  readonly source: string;
  readonly isTaken: boolean;
}

/** What oxc-parser gives, as far as it is looked at. */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && 'start' in value && 'end' in value;

function childrenOf(node: Node): Node[] {
  return Object.values(node).flatMap((value) => (Array.isArray(value) ? value : [value]).filter(isNode));
}

function nodeIn(node: Node, key: string): Node {
  const child = node[key];
  if (!isNode(child)) throw new Error(`a ${node.type} has no ${key}`);
  return child;
}

const optionalIn = (node: Node, key: string): Node | null => (isNode(node[key]) ? node[key] : null);

const nodesIn = (node: Node, key: string): Node[] =>
  Array.isArray(node[key]) ? node[key].filter(isNode) : [];

/** A way through one construct, and whether it was taken, at a place of the bundle. */
interface Way {
  readonly at: number;
  readonly way: string;
  readonly isTaken: boolean;
}

/**
 * How often the code at a place ran, by V8's block counts: the innermost range says. A function that begins there is not
 * what ran there: that it was made says nothing of its being called.
 */
function counter(functions: readonly Profiler.FunctionCoverage[]): (offset: number) => number {
  const ranges = functions.flatMap(({ ranges: [whole, ...blocks] }) => [
    ...(whole ? [{ ...whole, isFunction: true }] : []),
    ...blocks.map((block) => ({ ...block, isFunction: false })),
  ]);
  return (offset) => {
    const around = ranges.filter(
      ({ startOffset, endOffset, isFunction }) =>
        startOffset <= offset && offset < endOffset && !(isFunction && startOffset === offset),
    );
    const size = ({ startOffset, endOffset }: (typeof ranges)[number]) => endOffset - startOffset;
    return (
      around.reduce<(typeof ranges)[number] | null>(
        (inner, each) => (inner === null || size(each) <= size(inner) ? each : inner),
        null,
      )?.count ?? 0
    );
  };
}

/** `… !== void 0` and `… === void 0`: the second half of what `??` and `?.` are compiled to, which is no decision. */
function isHalfOfNullish({ type, operator, right }: Node): boolean {
  if (type !== 'LogicalExpression' || !isNode(right) || right.type !== 'BinaryExpression') return false;
  const compared = nodeIn(right, 'right');
  return operator !== '??' && compared.type === 'UnaryExpression' && compared.operator === 'void';
}

/** The ways through one construct, without what is inside it. */
function waysOf(node: Node, count: (offset: number) => number): Way[] {
  const way = (at: number, name: string, times: number): Way => ({ at, way: name, isTaken: times > 0 });
  switch (node.type) {
    case 'FunctionDeclaration':
    case 'FunctionExpression':
    case 'ArrowFunctionExpression': {
      const body = nodeIn(node, 'body');
      const inside = body.type === 'BlockStatement' || body.type === 'FunctionBody' ? 1 : 0;
      return [way(node.start, 'function', count(body.start + inside))];
    }
    case 'IfStatement': {
      const then = count(nodeIn(node, 'consequent').start);
      const otherwise = optionalIn(node, 'alternate');
      const decided = count(nodeIn(node, 'test').end);
      return [
        way(node.start, 'if', then),
        way(node.start, 'else', otherwise === null ? decided - then : count(otherwise.start)),
      ];
    }
    case 'ConditionalExpression': {
      const [yes, no] = isHalfOfNullish(nodeIn(node, 'test'))
        ? nodeIn(nodeIn(node, 'test'), 'right').operator === '==='
          ? ['nothing there', 'something there']
          : ['something there', 'nothing there']
        : ['yes', 'no'];
      return [
        way(node.start, yes ?? '', count(nodeIn(node, 'consequent').start)),
        way(node.start, no ?? '', count(nodeIn(node, 'alternate').start)),
      ];
    }
    case 'LogicalExpression': {
      if (isHalfOfNullish(node)) return [];
      const right = count(nodeIn(node, 'right').start);
      return [
        way(node.start, `left of ${node.operator} decides`, count(nodeIn(node, 'left').end) - right),
        way(node.start, `right of ${node.operator}`, right),
      ];
    }
    case 'SwitchStatement': {
      const cases = nodesIn(node, 'cases');
      return cases.map((each, n) => {
        const before = cases[n - 1];
        const fallen = before && nodesIn(before, 'consequent').length === 0 ? count(before.start) : 0;
        return way(each.start, optionalIn(each, 'test') ? 'case' : 'default', count(each.start) - fallen);
      });
    }
    case 'CatchClause':
      return [way(node.start, 'catch', count(nodeIn(node, 'body').start + 1))];
    case 'ForStatement':
    case 'ForOfStatement':
    case 'ForInStatement':
    case 'WhileStatement':
      return [way(node.start, 'loop', count(nodeIn(node, 'body').start))];
    default:
      return [];
  }
}

/** The modules of a webpack bundle in development mode: each a property named by its path, with a function as value. */
function modulesOf(program: Node): { readonly path: string; readonly code: Node }[] {
  const found: { path: string; code: Node }[] = [];
  const look = (node: Node): void => {
    const { key, value } = node;
    if (node.type === 'Property' && isNode(key) && isNode(value) && typeof key.value === 'string') {
      if (/\.ts$/.test(key.value)) found.push({ path: key.value.replace(/^\.\//, ''), code: value });
      return;
    }
    for (const child of childrenOf(node)) look(child);
  };
  look(program);
  return found;
}

/**
 * Every branch of the sources that a bundle was made of, and whether it was taken while V8 counted. The bundle is the one
 * the workers run, with its source map inside: `?.`, `??` and `??=` are compiled to decisions there, and counted as such.
 * Not counted: whether the preset value of a parameter was used, which V8 does not tell.
 * @param bundle code of the bundle
 * @param functions what V8 counted for it, with block counts
 * @param root folder the bundle's modules are named below
 * @param isWanted which sources, by their path below the root
 */
export function branchesOf(
  bundle: string,
  functions: readonly Profiler.FunctionCoverage[],
  root: string,
  isWanted: (path: string) => boolean,
): CodeBranch[] {
  const { program } = parseSync('bundle.js', bundle);
  const map = sourceMapOf(bundle);
  const lineStarts = [0, ...[...bundle.matchAll(/\n/g)].map(({ index }) => index + 1)];
  return modulesOf(program as unknown as Node)
    .filter(({ path }) => isWanted(path))
    .flatMap(({ path, code }) => {
      const source = readFileSync(join(root, path), 'utf8');
      const lines = source.split('\n');
      const inside = functions.filter(({ ranges: [whole] }) =>
        whole ? whole.startOffset < code.end && whole.endOffset > code.start : false,
      );
      const count = counter(inside);
      return waysIn(nodeIn(code, 'body'), source, count).map(({ at, way, isTaken }): CodeBranch => {
        const line = lineStarts.findLastIndex((start) => start <= at);
        const entry = map.findEntry(line, at - (lineStarts[line] ?? 0));
        if (!('originalLine' in entry)) throw new Error(`${path}: the source map knows no place for ${at}`);
        const place = { file: path, line: entry.originalLine + 1, column: entry.originalColumn + 1 };
        return { ...place, way, source: (lines[entry.originalLine] ?? '').trim(), isTaken };
      });
    });
}

/**
 * Ways through all constructs below a node, without what compiler and bundler added to the source. How often the test of a
 * loop is made V8 does not tell, so there only the right side of `&&` and `||` is judged.
 */
function waysIn(node: Node, source: string, count: (offset: number) => number): Way[] {
  const { id, callee } = node;
  if (node.type === 'FunctionDeclaration' && isNode(id) && !source.includes(String(id.name))) return [];
  const isExportList =
    isNode(callee) && isNode(callee.object) && callee.object.name === '__webpack_require__';
  if (isExportList) return [];
  const repeated = /^(For|While)/.test(node.type) ? [node.test, node.update] : [];
  const below = childrenOf(node).flatMap((child) => {
    const ways = waysIn(child, source, count);
    return repeated.includes(child) ? ways.filter(({ way }) => !way.startsWith('left of')) : ways;
  });
  return [...waysOf(node, count), ...below];
}

function sourceMapOf(bundle: string): SourceMap {
  const [, encoded] =
    bundle.match(/\/\/# sourceMappingURL=data:application\/json[^,]*;base64,(\S+)\s*$/) ?? [];
  if (encoded === undefined) throw new Error('the bundle has no source map');
  return new SourceMap(JSON.parse(Buffer.from(encoded, 'base64').toString('utf8')));
}
