import pg from 'pg';

export interface Announcements {
  close(): Promise<void>;
}

/** ms between attempts to listen again after the connection was lost */
const RETRY_MS = 500;

/**
 * Listens on channels of the database, on a connection of its own that is made again when lost. What is announced
 * meanwhile is missed: whoever listens also looks from time to time, and is told of the gap by `onGap`.
 * @param url any role's connection URL; announcements carry ids only
 * @param onGap called after each (re)connection: look now
 */
export function listen(
  url: string,
  channels: readonly string[],
  onAnnounced: (channel: string, payload: string) => void,
  onGap: () => void,
): Announcements {
  let closed = false;
  let client: pg.Client | null = null;
  let retry: NodeJS.Timeout | undefined;

  const connect = async (): Promise<void> => {
    const mine = new pg.Client({ connectionString: url, keepAlive: true });
    client = mine;
    let lost = false;
    const again = () => {
      if (lost) return;
      lost = true;
      mine.end().catch(() => undefined); // already broken; there is nothing left to close
      if (!closed) retry = setTimeout(() => void connect(), RETRY_MS);
    };
    mine.on('error', again);
    mine.on('end', again);
    mine.on('notification', ({ channel, payload }) => onAnnounced(channel, payload ?? ''));
    try {
      await mine.connect();
      await mine.query(channels.map((channel) => `LISTEN ${pg.escapeIdentifier(channel)}`).join('; '));
      onGap();
    } catch {
      again(); // the database does not answer: the caller's own queries say so to people
    }
  };
  void connect();

  return {
    async close() {
      closed = true;
      clearTimeout(retry);
      await client?.end().catch(() => undefined);
    },
  };
}
