// Fetches a Temporal server into a folder by starting it from there once: the CLI's, or the one that skips time.
//   node stack/download-temporal.mjs FOLDER VERSION [time-skipping]
import { TestWorkflowEnvironment } from '@temporalio/testing';

const [downloadDir, version, kind] = process.argv.slice(2);
const options = { server: { executable: { type: 'cached-download', downloadDir, version } } };
const environment =
  kind === 'time-skipping'
    ? await TestWorkflowEnvironment.createTimeSkipping(options)
    : await TestWorkflowEnvironment.createLocal(options);
await environment.teardown();
