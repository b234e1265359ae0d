/** One field of a line. */
interface Field {
  readonly text: string;
  /** first character in its line, from 1 */
  readonly column: number;
}

/**
 * Fields of one line of separated values (RFC 4180), with the column at which each begins.
 * @param trim whether spaces around a field are dropped
 * @returns where a quotation mark is opened that nothing closes, when there is one
 */
export function splitLine(
  line: string,
  delimiter: string,
  trim: boolean,
): Field[] | { readonly unclosedAt: number } {
  const fields: Field[] = [];
  let at = 0;
  for (;;) {
    if (trim) while ((line[at] === ' ' || line[at] === '\t') && line[at] !== delimiter) at++;
    const begin = at;
    let text = '';
    if (line[at] === '"') {
      at++;
      for (;;) {
        const end = line.indexOf('"', at);
        if (end < 0) return { unclosedAt: begin + 1 };
        text += line.slice(at, end);
        at = end + 1;
        if (line[at] !== '"') break;
        text += '"';
        at++;
      }
    }
    const next = line.indexOf(delimiter, at);
    const rest = line.slice(at, next < 0 ? line.length : next);
    text += trim ? rest.trimEnd() : rest;
    at = next < 0 ? line.length : next;
    fields.push({ text: trim ? text.trim() : text, column: begin + 1 });
    if (next < 0) return fields;
    at++;
  }
}
