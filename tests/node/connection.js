'use strict'
// One connection of a peer of 2017, with that peer's habits.

const { randomBytes, createHash } = require('crypto')
const { encode, decode, entries } = require('./wire')

/** How long after the upgrade a client doesn't listen yet. */
const DEAF_MS = 50
/** What is taken off the expiry of a forwarded payment, and what it must have left. */
const FORWARD_MS = 10000
const FORWARD_MS_MIN = 11000

const isBelow = (prefix, address) => address === prefix || address.startsWith(prefix + '.')

class Connection {
  /** `peer` has what outlives a connection: its memory, its policy, its account of the others. */
  constructor (peer, socket, name) {
    Object.assign(this, { peer, socket, name, address: null, nextId: peer.firstId })
  }

  /** A client loses what comes in the first instant; then it listens, and vouches at once if it has a ledger account. */
  beginAsClient () {
    const lose = (frame) => this.peer.report({ event: 'lost', frame: frame.toString('hex') })
    this.socket.on('message', lose)
    setTimeout(() => {
      this.socket.off('message', lose)
      this.begin()
    }, DEAF_MS)
  }

  begin () {
    this.socket.on('message', (frame) => this.peer.orDie(() => this.receive(frame)))
    if (this.peer.wallet) {
      this.request({ type: 'message', entries: entries.vouch(1, this.peer.wallet) })
      this.request({ type: 'message', entries: entries.vouch(2, this.peer.wallet) })
    }
    this.peer.report({ event: 'open', name: this.name })
  }

  /** Sends a request under its own number, or the next. */
  request (packet) {
    const requestId = packet.requestId === undefined ? this.setAside() : packet.requestId
    this.send({ ...packet, requestId })
  }

  setAside () {
    const id = this.nextId
    if (!this.peer.sameId) this.nextId += 1
    return id
  }

  send (packet, sent) {
    this.peer.report({ event: 'sent', name: this.name, packet })
    this.socket.send(encode(packet), sent)
  }

  ack (requestId, sent) {
    this.send({ type: this.peer.policy.response ? 'response' : 'ack', requestId }, sent)
  }

  receive (frame) {
    const packet = decode(frame)
    this.peer.report({ event: 'received', name: this.name, packet })
    switch (packet.type) {
      case 'prepare':
        this.peer.once('prepare', packet.transferId)
        return this.prepared(packet)
      case 'fulfill':
      case 'reject':
        this.peer.once('outcome', packet.transferId)
        if (!this.peer.policy.mute) this.ack(packet.requestId)
        return this.peer.outcome(packet, this)
      case 'message':
        return this.message(packet)
      case 'response':
        if (packet.first && packet.first.info === 'answer') this.address = packet.first.address
    }
  }

  message ({ requestId, first, entries: [entry] }) {
    const answer = (entries) => this.send({ type: 'response', requestId, entries })
    if (!entry) return this.error(requestId, 'L02', 'Empty message')
    if (first.info === 'request') return answer(entries.infoAnswer(this.peer.addressOf(this)))
    if (first.balance === 'request') return answer(entries.balanceAnswer(this.peer.balanceOf(this.name)))
    if (first.vouch) return this.ack(requestId)
    this.error(requestId, 'L03', 'First protocol unsupported')
  }

  error (requestId, code, name) {
    this.send({ type: 'error', requestId, reason: { code, name, triggeredBy: this.peer.server || this.address || 'peer.testing' } })
  }

  prepared (transfer) {
    const to = transfer.first.account
    const next = this.peer.nextHop(to)
    if (next && next !== this) return this.forward(transfer, next)
    if (this.peer.isOwn(to, this)) return this.take(transfer)
    // Nobody it knows: most failures look like this.
    this.ack(transfer.requestId)
  }

  /** A payment to this peer itself. */
  take ({ requestId, transferId, condition }) {
    const { answer, reason, fulfillments } = this.peer.policy
    if (answer === 'error') return this.send({ type: 'error', requestId, reason })
    const id = this.setAside()
    const fulfillment = fulfillments.find((hex) => createHash('sha256').update(Buffer.from(hex, 'hex')).digest('hex') === condition)
    const fulfill = { type: 'fulfill', requestId: id, transferId, fulfillment }
    if (answer === 'cut') {
      this.peer.held.set(transferId, fulfill)
      return this.ack(requestId, () => this.socket.terminate())
    }
    this.ack(requestId)
    if (answer === 'hold') this.peer.held.set(transferId, fulfill)
    else if (answer === 'reject') this.request({ type: 'reject', requestId: id, transferId, reason })
    else if (answer === 'fulfill' && fulfillment) this.request(fulfill)
  }

  /** To another of its peers: exactly the ILP amount, with an id of its own and less time. */
  forward (transfer, next) {
    const left = new Date(transfer.expiresAt) - Date.now()
    if (left < FORWARD_MS_MIN) return this.error(transfer.requestId, 'R02', 'Insufficient Timeout')
    const transferId = randomBytes(16).toString('hex')
    const id = this.setAside()
    this.ack(transfer.requestId)
    this.peer.forwarded.set(transferId, { to: this, requestId: id, transfer })
    const { condition, first: { amount }, entries: [{ protocol, data }] } = transfer
    const expiresAt = new Date(new Date(transfer.expiresAt) - FORWARD_MS).toISOString()
    next.request({ type: 'prepare', transferId, amount, condition, expiresAt, entries: [{ protocol, data }] })
  }
}

module.exports = { Connection, isBelow }
