/** The value without nulls: what has no value is absent in replies, never null. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((each) => each !== null).map(withoutNulls);
  return isRecord(value) ? withoutNullsIn(value) : value;
}

/** As {@link withoutNulls}, of facts, which stay an object. */
export function withoutNullsIn(facts: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(facts).flatMap(([name, each]) => (each === null ? [] : [[name, withoutNulls(each)]])),
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
