/** A bar that shows how much of something is done. */
interface Progress {
  advance(note: string): void;
  /** leaves the bar as it is and goes on below */
  end(note: string): void;
}

/** What the demo shows the person who watches. */
export interface Stage {
  chapter(title: string): void;
  say(line: string): void;
  good(line: string): void;
  /** something went wrong on purpose */
  struck(line: string): void;
  bad(line: string): void;
  /** a step of a job, indented */
  detail(line: string): void;
  link(name: string, address: string): void;
  progress(total: number): Progress;
}

const BAR_WIDTH = 32;
/** Without a terminal a bar cannot move: then a line each so many steps. */
const STEPS_A_LINE = 24;

/**
 * @param write where it goes
 * @param isTerminal true: a moving bar
 * @param colours false for NO_COLOR and where there is no terminal
 */
export function createStage(write: (text: string) => void, isTerminal: boolean, colours: boolean): Stage {
  const paint = (code: number) => (text: string) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
  const bold = paint(1);
  const dim = paint(2);
  const red = paint(31);
  const green = paint(32);
  const yellow = paint(33);
  const cyan = paint(36);
  let chapters = 0;
  return {
    chapter(title) {
      chapters += 1;
      write(`\n${bold(`${chapters}  ${title}`)}\n`);
    },
    say: (line) => write(`   ${line}\n`),
    good: (line) => write(`   ${green('✓')} ${line}\n`),
    struck: (line) => write(`   ${yellow('⚡')} ${line}\n`),
    bad: (line) => write(`   ${red('✗')} ${line}\n`),
    detail: (line) => write(`       ${dim(line)}\n`),
    link: (name, address) => write(`   ${dim(name.padEnd(22))} ${cyan(address)}\n`),
    progress(total) {
      let done = 0;
      const draw = (note: string) => {
        const filled = total === 0 ? BAR_WIDTH : Math.round((done / total) * BAR_WIDTH);
        const bar = `${green('█'.repeat(filled))}${dim('░'.repeat(BAR_WIDTH - filled))}`;
        return `   ${bar} ${String(done).padStart(String(total).length)}/${total}  ${dim(note)}`;
      };
      return {
        advance(note) {
          done += 1;
          if (isTerminal) write(`\r\u001b[2K${draw(note)}`);
          else if (done % STEPS_A_LINE === 0) write(`${draw(note)}\n`);
        },
        end(note) {
          if (isTerminal) write(`\r\u001b[2K${draw(note)}\n`);
          else write(`${draw(note)}\n`);
        },
      };
    },
  };
}

/** For `--json`: nothing is shown. */
export function createSilentStage(): Stage {
  const nothing = () => undefined;
  return {
    chapter: nothing,
    say: nothing,
    good: nothing,
    struck: nothing,
    bad: nothing,
    detail: nothing,
    link: nothing,
    progress: () => ({ advance: nothing, end: nothing }),
  };
}
