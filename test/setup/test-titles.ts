import { parseSync, Visitor } from 'oxc-parser';

/** A test as its source declares it. */
export interface DeclaredTest {
  /** the first argument, as it stands in the source */
  readonly title: string;
  /** it, or a group around it, is skipped, to do, expected to fail, run under a condition, or skips itself */
  readonly mayBeSkipped: boolean;
}

const DECLARES = new Set(['it', 'test', 'describe']);
const RUNS_ALWAYS = new Set(['each', 'concurrent', 'sequential', 'for']);

/** What is looked at of a node of the tree. */
interface Call {
  readonly start: number;
  readonly end: number;
  readonly callee: unknown;
  readonly arguments: readonly { readonly type: string; readonly start: number; readonly end: number }[];
}

/** The names in a callee, from the outside in: `test.skip.each(rows)` is test, skip, each. Null: it is something else. */
function namesOf(callee: unknown): string[] | null {
  if (typeof callee !== 'object' || callee === null || !('type' in callee)) return null;
  if (callee.type === 'Identifier' && 'name' in callee) return [String(callee.name)];
  if (callee.type === 'MemberExpression' && 'object' in callee && 'property' in callee) {
    const [inner, own] = [namesOf(callee.object), namesOf(callee.property)];
    return inner && own ? [...inner, ...own] : null;
  }
  return callee.type === 'CallExpression' && 'callee' in callee ? namesOf(callee.callee) : null;
}

/** Every test that a source declares, those in loops and tables once. */
export function declaredTests(file: string, source: string): DeclaredTest[] {
  const { program, errors } = parseSync(file, source);
  if (errors[0]) throw new Error(`${file}: ${errors[0].message}`);
  const found: { call: Call; names: string[]; title: string }[] = [];
  new Visitor({
    CallExpression: (call) => {
      const names = namesOf(call.callee);
      const [first] = call.arguments;
      if (!names || !DECLARES.has(names[0] ?? '') || !first) return;
      if (first.type !== 'Literal' && first.type !== 'TemplateLiteral') return;
      found.push({ call, names, title: source.slice(first.start + 1, first.end - 1) });
    },
  }).visit(program);
  const isConditional = ({ call, names }: (typeof found)[number]): boolean =>
    names.slice(1).some((name) => !RUNS_ALWAYS.has(name)) ||
    call.arguments.some(
      ({ type, start, end }) =>
        type === 'ObjectExpression' && /\b(skip|todo|fails)\b/.test(source.slice(start, end)),
    );
  return found
    .filter(({ names }) => names[0] !== 'describe')
    .map((each) => {
      const around = found.filter(
        ({ call, names }) =>
          names[0] === 'describe' && call.start < each.call.start && each.call.end <= call.end,
      );
      const skipsItself = /\.skip\(/.test(source.slice(each.call.start, each.call.end));
      return {
        title: each.title,
        mayBeSkipped: skipsItself || [each, ...around].some(isConditional),
      };
    });
}
