/** The controller's role on a real machine: the controller, and its HTTP API on the same port. */
import type { ControllerApi } from '../controller/api.js';
import type { ControllerConfig } from '../controller/config.js';
import { startController } from '../controller/main.js';
import { createHttpApp } from '../doors/http/app.js';
import type { NodeRuntime } from '../runtime/node/create-runtime.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime/runtime.js';
import { httpServer } from './http-server.js';

export const controllerWithHttp: RoleMain<ControllerConfig> = async (runtime, config) => {
  let api: ControllerApi | undefined;
  const app = createHttpApp({
    api: () => api,
    listenHost: hostOf(config),
    failed: (error) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      runtime.log.write('error', `an HTTP request met a bug: ${text}`, { code: 'HTTP_BUG' });
    },
  });
  const server = httpServer(app);
  realNetwork(runtime).serveHttp(server);
  const controller = await startController(runtime, config);
  ({ api } = controller);
  return {
    address: controller.address,
    stop: () => {
      server.close();
      server.closeAllConnections();
      return controller.stop();
    },
  } satisfies RunningRole;
};

/** Roles of this folder run on the real runtime only. */
function realNetwork(runtime: Runtime): NodeRuntime['network'] {
  return (runtime as NodeRuntime).network;
}

/** Of what is not yet checked: a wrong address is refused when the controller starts. */
function hostOf(config: Partial<ControllerConfig> | null): string {
  return /^tcp:\/\/(.*):\d+$/.exec(String(config?.listen))?.[1] ?? '';
}
