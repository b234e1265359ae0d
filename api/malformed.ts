/** Where a text stops being JSON (RFC 8259): line and column count from 1, columns in UTF-16 units. */
export interface JsonMistake {
  readonly line: number;
  readonly column: number;
  readonly expected: string;
}

/**
 * Finds the first place at which a text stops being JSON. V8's own message names no place for short texts and for
 * those that end too early, so the text is walked here; only texts that `JSON.parse` has refused come this way.
 * @returns null when the text is JSON after all
 */
export function findJsonMistake(text: string): JsonMistake | null {
  const walker = new JsonWalker(text);
  const mistake = walker.document();
  if (mistake === null) return null;
  const before = text.slice(0, walker.at);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: walker.at - lineStart + 1, expected: mistake };
}

/** Deeper nesting is refused rather than followed. */
const MAX_DEPTH = 200;

class JsonWalker {
  at = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  document(): string | null {
    const mistake = this.value(0);
    if (mistake !== null) return mistake;
    this.space();
    return this.at === this.text.length ? null : 'nothing more after the value';
  }

  private space(): void {
    while (/[ \t\n\r]/.test(this.text.charAt(this.at))) this.at++;
  }

  private take(character: string): boolean {
    if (this.text.charAt(this.at) !== character) return false;
    this.at++;
    return true;
  }

  private value(depth: number): string | null {
    if (depth > MAX_DEPTH) return `at most ${MAX_DEPTH} levels of nesting`;
    this.space();
    switch (this.text.charAt(this.at)) {
      case '{':
        return this.members('}', depth);
      case '[':
        return this.members(']', depth);
      case '"':
        return this.string();
      default:
        return this.word();
    }
  }

  private members(end: '}' | ']', depth: number): string | null {
    this.at++;
    this.space();
    if (this.take(end)) return null;
    for (;;) {
      if (end === '}') {
        this.space();
        if (this.text.charAt(this.at) !== '"') return 'a name in double quotes';
        const mistake = this.string();
        if (mistake !== null) return mistake;
        this.space();
        if (!this.take(':')) return 'a colon';
      }
      const mistake = this.value(depth + 1);
      if (mistake !== null) return mistake;
      this.space();
      if (this.take(end)) return null;
      if (!this.take(',')) return `a comma or ${end}`;
    }
  }

  private string(): string | null {
    this.at++;
    for (;;) {
      const character = this.text.charAt(this.at);
      if (character === '') return 'the closing quote of a text';
      if (character < ' ') return 'no control character within a text (write it as an escape such as \\n)';
      if (character === '"') {
        this.at++;
        return null;
      }
      if (character !== '\\') this.at++;
      else if (/^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.test(this.text.slice(this.at, this.at + 6))) {
        this.at += this.text.charAt(this.at + 1) === 'u' ? 6 : 2;
      } else return 'an escape such as \\n or \\u00b5';
    }
  }

  private word(): string | null {
    const rest = this.text.slice(this.at, this.at + 400);
    const found = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])/.exec(rest);
    if (!found) return 'a value: an object, a list, a text in double quotes, a number, true, false or null';
    this.at += found[0].length;
    return null;
  }
}
