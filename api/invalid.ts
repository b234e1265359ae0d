import type { ZodError } from 'zod';
import { DomainError, type InputProblem } from '../domain/errors.ts';

type Issue = ZodError['issues'][number];

/** Where in the request something was looked for. */
type Place = 'json' | 'query' | 'param' | 'header' | 'form' | 'cookie';

/**
 * The default hook of every router: a request without the right shape becomes one problem that names each mistake.
 * @throws DomainError VALIDATION
 */
export function refuseInvalid(
  result: { target: string; data?: unknown } & ({ success: true } | { success: false; error: ZodError }),
): undefined {
  if (result.success) return undefined;
  const target = result.target as Place;
  const errors = result.error.issues.flatMap((issue) => describeIssue(issue, target, result.data));
  const first = errors[0];
  const rest = errors.length - 1;
  const more = rest === 0 ? '' : ` and ${rest} more mistake${rest === 1 ? '' : 's'}, see errors`;
  throw new DomainError(
    'VALIDATION',
    first ? `${nameOf(first.pointer, target)}: ${first.detail}${more}` : 'The request is wrong',
    {
      errors,
    },
  );
}

function nameOf(pointer: string, target: Place): string {
  if (target === 'json') return pointer === '' ? 'The body' : `The body’s ${pointer}`;
  return target === 'param' ? `The path’s ${pointer}` : `The ${target} parameter ${pointer}`;
}

/** RFC 6901 pointer of a path into a JSON body; elsewhere the name of the parameter. */
function pointerOf(path: readonly PropertyKey[], target: Place): string {
  if (target !== 'json') return path.map(String).join('.');
  return path.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

function valueAt(data: unknown, path: readonly PropertyKey[]): unknown {
  let value = data;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

/** One sentence a mistake: what should be there, and what was. */
function describeIssue(issue: Issue, target: Place, data: unknown): InputProblem[] {
  const pointer = pointerOf(issue.path, target);
  const value = valueAt(data, issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      pointer: pointerOf([...issue.path, key], target),
      detail: 'nothing of this name is taken here; leave it out',
    }));
  }
  if (issue.code === 'invalid_union' && value !== undefined) {
    const whole = issue.errors.flatMap((variant) => (variant.length === 1 ? variant : []));
    // Each alternative refuses the value as such: what it may be is all of them.
    if (
      whole.length > 1 &&
      whole.length === issue.errors.length &&
      whole.every(({ path }) => path.length === 0)
    ) {
      const either = [...new Set(whole.map((one) => wanted(one).replace(/^should /, '')))];
      return [{ pointer, detail: `should ${either.join(', or ')}, but ${shown(value)}` }];
    }
    const variants = issue.errors.map((variant) =>
      variant.flatMap((inner) =>
        describeIssue({ ...inner, path: [...issue.path, ...inner.path] }, target, data),
      ),
    );
    const closest = variants.filter((list) => list.length > 0).sort((a, b) => a.length - b.length)[0];
    if (closest && issue.errors.length > 0) return closest;
  }
  if (value === undefined) return [{ pointer, detail: `is missing; ${wanted(issue)}` }];
  return [{ pointer, detail: `${wanted(issue)}, but ${shown(value)}` }];
}

function wanted(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `should be ${article(issue.expected)}`;
    case 'invalid_value':
      return `should be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map((v) => String(v)).join(', ')}`;
    case 'too_small':
      return `should ${bound(issue.origin, 'at least', String(issue.minimum), issue.inclusive)}`;
    case 'too_big':
      return `should ${bound(issue.origin, 'at most', String(issue.maximum), issue.inclusive)}`;
    case 'invalid_format':
      return `should be ${FORMATS[issue.format] ?? (issue.message.startsWith('Invalid') ? `a valid ${issue.format}` : issue.message)}`;
    case 'not_multiple_of':
      return `should be a multiple of ${issue.divisor}`;
    case 'custom':
      return issue.message;
    default:
      return issue.message;
  }
}

const FORMATS: Readonly<Record<string, string>> = {
  uuid: 'an id (UUID)',
  email: 'an e-mail address',
  datetime: 'a time such as 2026-03-02T08:15:00.000Z (RFC 3339, UTC)',
  url: 'a URL',
};

function article(type: string): string {
  const names: Readonly<Record<string, string>> = {
    object: 'an object',
    array: 'a list',
    string: 'a text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
    null: 'null',
    undefined: 'left out',
  };
  return names[type] ?? `a ${type}`;
}

function bound(origin: string, word: string, limit: string, inclusive: boolean | undefined): string {
  const strictly = inclusive === false ? ' (exclusive)' : '';
  if (origin === 'string') return `have ${word} ${limit} character${limit === '1' ? '' : 's'}${strictly}`;
  if (origin === 'array' || origin === 'set')
    return `have ${word} ${limit} element${limit === '1' ? '' : 's'}${strictly}`;
  return `be ${word} ${limit}${strictly}`;
}

/** What was sent, short enough for a sentence. */
function shown(value: unknown): string {
  if (typeof value === 'string') {
    return value.length <= 60 ? `is ${JSON.stringify(value)}` : `is a text of ${value.length} characters`;
  }
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return `is ${String(value)}`;
  if (Array.isArray(value)) return `is a list of ${value.length}`;
  return `is ${article(typeof value)}`;
}
