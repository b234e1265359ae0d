// Fetches a Temporal CLI into a folder by starting the SDK's development server from it once.
//   node stack/download-temporal.mjs FOLDER VERSION
import { TestWorkflowEnvironment } from '@temporalio/testing';

const [downloadDir, version] = process.argv.slice(2);
const environment = await TestWorkflowEnvironment.createLocal({
  server: { executable: { type: 'cached-download', downloadDir, version } },
});
await environment.teardown();
