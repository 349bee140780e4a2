/**
 * A backend as one writes it for AWS API Gateway: it knows connection ids and AWS's SDK, and nothing of Hubline. Everyone hears what anyone
 * says; who is gone is forgotten at the first 410.
 */
import {
  ApiGatewayManagementApiClient,
  DeleteConnectionCommand,
  GetConnectionCommand,
  PostToConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi'

export class Backend {
  #api
  #connections = new Set()

  /** @param {string} endpoint https://{api}.execute-api.{region}.amazonaws.com/{stage} at AWS, http://{hub}/{stage} here */
  constructor(endpoint) {
    // The hub does not look at the signature; the SDK insists on making one.
    const credentials = { accessKeyId: 'example', secretAccessKey: 'example' }
    this.#api = new ApiGatewayManagementApiClient({ endpoint, region: 'eu-west-1', credentials })
  }

  /** What $connect would call. */
  connected(ConnectionId) {
    this.#connections.add(ConnectionId)
  }

  async say(text) {
    await Promise.all([...this.#connections].map(id => this.#post(id, text)))
    return [...this.#connections]
  }

  async #post(ConnectionId, text) {
    try {
      await this.#api.send(new PostToConnectionCommand({ ConnectionId, Data: Buffer.from(text) }))
    } catch (error) {
      if (error.$metadata?.httpStatusCode !== 410) throw error
      this.#connections.delete(ConnectionId)
    }
  }

  async since(ConnectionId) {
    const { ConnectedAt } = await this.#api.send(new GetConnectionCommand({ ConnectionId }))
    return ConnectedAt
  }

  async disconnect(ConnectionId) {
    await this.#api.send(new DeleteConnectionCommand({ ConnectionId }))
  }
}
