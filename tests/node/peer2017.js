'use strict'
// A peer of 2017, client or server, driven by one JSON object a line on stdin; says on stdout, in the same form, what happens.
// It dies, saying why, of what a peer of that time can't live with.

const readline = require('readline')
const WebSocket = require('ws')
const { Connection, isBelow } = require('./connection')
const { entries } = require('./wire')

const REDIAL_MS = 1000
const PATH = '/ilp-node-3/api/v1'

class Peer {
  constructor () {
    this.policy = { answer: 'fulfill', fulfillments: [] }
    this.firstId = 1
    this.sameId = false
    this.wallet = null
    this.redial = true
    this.seen = new Set()
    this.held = new Map()
    this.forwarded = new Map()
    this.connections = new Map()
    this.balances = new Map()
  }

  report (event) {
    process.stdout.write(JSON.stringify(event) + '\n')
  }

  die (why) {
    this.report({ event: 'died', why })
    process.exit(70)
  }

  orDie (act) {
    try {
      act()
    } catch (error) {
      this.die(error.message)
    }
  }

  /** It pays a repeated prepare twice, and a second outcome ends it. */
  once (what, transferId) {
    const key = `${what} ${transferId}`
    if (this.seen.has(key)) this.die(`repeated: ${key}`)
    this.seen.add(key)
  }

  // As client.

  dial () {
    const { url, name, token } = this.client
    const socket = new WebSocket(`${url}/${name}/${token}`, { perMessageDeflate: false })
    const connection = new Connection(this, socket, name)
    socket.on('open', () => {
      this.connections.set(name, connection)
      connection.beginAsClient()
    })
    socket.on('error', (error) => this.report({ event: 'failed', why: error.message }))
    socket.on('close', (code) => {
      this.gone(connection, code)
      if (this.redial) setTimeout(() => this.redial && this.dial(), REDIAL_MS)
    })
  }

  // As server: every name is let in, whatever its token.

  listen () {
    const server = new WebSocket.Server({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
    server.on('listening', () => this.report({ event: 'listening', url: `ws://127.0.0.1:${server.address().port}${PATH}` }))
    server.on('connection', (socket, request) => {
      const [name, token] = request.url.split('/').slice(-2)
      this.report({ event: 'dialled', path: request.url, name, token })
      const connection = new Connection(this, socket, name)
      this.connections.set(name, connection)
      socket.on('error', (error) => this.report({ event: 'failed', why: error.message }))
      socket.on('close', (code) => this.gone(connection, code))
      connection.begin()
    })
  }

  gone (connection, code) {
    if (this.connections.get(connection.name) === connection) this.connections.delete(connection.name)
    this.report({ event: 'closed', name: connection.name, code })
  }

  /** What it calls itself on a connection (a client: as it was told), or what a server calls its client. */
  addressOf (connection) {
    return this.server ? `${this.server}.downstream_${connection.name}` : connection.address
  }

  nextHop (to) {
    if (!this.server) return null
    return [...this.connections.values()].find((connection) => isBelow(this.addressOf(connection), to)) || null
  }

  isOwn (to, connection) {
    if (this.server) return isBelow(this.server, to) && !to.startsWith(`${this.server}.downstream_`)
    return connection.address !== null && isBelow(connection.address, to)
  }

  balanceOf (name) {
    const balance = this.balances.get(name) || 0n
    return balance > 0n ? balance : 0n
  }

  /** The end of a transfer that was sent: passed on, if it was forwarded. */
  outcome (packet, from) {
    const forwarded = this.forwarded.get(packet.transferId)
    if (!forwarded) return
    const { to, requestId, transfer } = forwarded
    if (packet.type === 'fulfill') {
      this.balances.set(to.name, (this.balances.get(to.name) || 0n) - BigInt(transfer.amount))
      this.balances.set(from.name, (this.balances.get(from.name) || 0n) + BigInt(transfer.first.amount))
    }
    const { type, fulfillment, reason } = packet
    to.request({ type, requestId, transferId: transfer.transferId, fulfillment, reason })
  }
}

const peer = new Peer()

const commands = {
  connect: ({ url, name, token }) => {
    peer.client = { url, name, token }
    peer.dial()
  },
  listen: ({ name }) => {
    peer.server = `peer.testing.${name}`
    peer.listen()
  },
  /** The first number of its requests, whether all have that one, the ledger account that it vouches for, whether it dials again. */
  habits: (habits) => Object.assign(peer, habits),
  /** What it does with payments; whether it acknowledges by Response; whether it leaves outcomes unacknowledged. */
  policy: ({ answer = 'fulfill', fulfillments = [], reason, response = false, mute = false }) => {
    peer.policy = { answer, fulfillments, reason, response, mute }
  },
  info: (_, on) => on.request({ type: 'message', entries: entries.infoRequest }),
  balance: (_, on) => on.request({ type: 'message', entries: entries.balanceRequest }),
  vouch: ({ operation, address }, on) => on.request({ type: 'message', entries: entries.vouch(operation, address) }),
  message: ({ requestId, entries }, on) => on.request({ type: 'message', requestId, entries }),
  pay: ({ requestId, transferId, amount, condition, expiresAt, to, arrives = amount, entries: given }, on) => {
    const protocolData = given || entries.payment(arrives, to)
    on.request({ type: 'prepare', requestId, transferId, amount, condition, expiresAt, entries: protocolData })
  },
  /** Fulfills a transfer that was held, under the number set aside for it. */
  release: ({ transferId }, on) => {
    const held = peer.held.get(transferId)
    if (!held) throw new Error(`${transferId} isn't held`)
    on.request(held)
  },
  disconnect: (_, on) => {
    peer.redial = false
    on.socket.terminate()
  },
  reconnect: () => {
    peer.redial = true
    peer.dial()
  },
  quit: () => process.exit(0)
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => peer.orDie(() => {
    const { do: name, on, ...rest } = JSON.parse(line)
    const connection = on === undefined ? peer.connections.values().next().value : peer.connections.get(on)
    commands[name](rest, connection)
    peer.report({ event: 'done', name })
  }))
  .on('close', () => process.exit(0))
