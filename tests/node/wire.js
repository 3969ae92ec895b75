'use strict'
// Bytes: CLP with btp-packet in its ALPHA version, ILP with ilp-packet, the sub-protocols of 2017 by hand.

const btp = require('btp-packet')
const ilp = require('ilp-packet')

const VERSION = btp.BTP_VERSION_ALPHA
const NAMES = {
  [btp.TYPE_ACK]: 'ack',
  [btp.TYPE_RESPONSE]: 'response',
  [btp.TYPE_ERROR]: 'error',
  [btp.TYPE_PREPARE]: 'prepare',
  [btp.TYPE_FULFILL]: 'fulfill',
  [btp.TYPE_REJECT]: 'reject',
  [btp.TYPE_MESSAGE]: 'message'
}
const TYPES = Object.fromEntries(Object.entries(NAMES).map(([type, name]) => [name, Number(type)]))

const toUuid = (hex) => hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
const fromUuid = (uuid) => uuid.replace(/-/g, '')
const fromBase64 = (text) => Buffer.from(text, 'base64').toString('hex')
const toBase64 = (hex) => Buffer.from(hex, 'hex').toString('base64')

/** A frame of a packet: `{type, requestId, entries, …}`, bytes in hex. Throws what the libraries throw. */
function encode (packet) {
  const protocolData = (packet.entries || []).map(({ protocol, data }) => ({
    protocolName: protocol,
    contentType: btp.MIME_APPLICATION_OCTET_STREAM,
    data: Buffer.from(data, 'hex')
  }))
  const reason = () => ilp.serializeIlpError({ forwardedBy: [], triggeredAt: new Date(), data: '', ...packet.reason })
  const transferId = packet.transferId && toUuid(packet.transferId)
  const data = {
    ack: () => protocolData,
    response: () => protocolData,
    message: () => protocolData,
    error: () => ({ rejectionReason: reason(), protocolData }),
    prepare: () => ({
      transferId,
      amount: packet.amount,
      executionCondition: toBase64(packet.condition),
      expiresAt: new Date(packet.expiresAt),
      protocolData
    }),
    fulfill: () => ({ transferId, fulfillment: toBase64(packet.fulfillment), protocolData }),
    reject: () => ({ transferId, rejectionReason: reason(), protocolData })
  }[packet.type]()
  return btp.serialize({ type: TYPES[packet.type], requestId: packet.requestId, data }, VERSION)
}

/** The packet of a frame, with what its first entry says. Throws for what a peer of 2017 can't read. */
function decode (frame) {
  const { type, requestId, data } = btp.deserialize(frame, VERSION)
  const packet = { type: NAMES[type], requestId }
  const protocolData = Array.isArray(data) ? data : data.protocolData
  packet.entries = protocolData.map((entry) => ({
    protocol: entry.protocolName,
    contentType: entry.contentType,
    data: entry.data.toString('hex')
  }))
  if (data.transferId) packet.transferId = fromUuid(data.transferId)
  if (data.amount) packet.amount = data.amount
  if (data.executionCondition) packet.condition = fromBase64(data.executionCondition)
  if (data.expiresAt) packet.expiresAt = data.expiresAt.toISOString()
  if (data.fulfillment) packet.fulfillment = fromBase64(data.fulfillment)
  if (data.rejectionReason) packet.reason = ilp.deserializeIlpError(data.rejectionReason)
  const [first] = packet.entries
  if (first) packet.first = subProtocol(first)
  return packet
}

/** What an entry says, where it is a sub-protocol of 2017. */
function subProtocol ({ protocol, data }) {
  const bytes = Buffer.from(data, 'hex')
  switch (protocol) {
    case 'ilp': {
      const packet = ilp.deserializeIlpPacket(bytes)
      return { ilp: packet.typeString, ...packet.data }
    }
    case 'info':
      return bytes[0] === 0 ? { info: 'request' } : { info: 'answer', address: text(bytes.subarray(1)) }
    case 'balance':
      return bytes[0] === 0 ? { balance: 'request' } : { balance: 'answer', amount: bytes.readBigUInt64BE(2).toString() }
    case 'vouch':
      return { vouch: bytes[0], address: text(bytes.subarray(1)) }
    default:
      return {}
  }
}

/** A length and as much text. */
function text (bytes) {
  const extra = bytes[0] < 0x80 ? 0 : bytes[0] - 0x80
  const length = extra === 0 ? bytes[0] : bytes.readUIntBE(1, extra)
  const found = bytes.subarray(1 + extra)
  if (found.length !== length) throw new Error(`${length} bytes of text expected, ${found.length} found`)
  return found.toString('ascii')
}

/** Text with its length as peers of 2017 write it in `info` and `vouch`: from 128 up in two bytes, although one would do. */
function withLength (value) {
  const length = value.length < 128 ? [value.length] : [0x82, value.length >> 8, value.length & 0xff]
  return Buffer.concat([Buffer.from(length), Buffer.from(value, 'ascii')])
}

const hex = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part))).toString('hex')

const entries = {
  none: [],
  infoRequest: [{ protocol: 'info', data: hex([0]) }],
  infoAnswer: (address) => [{ protocol: 'info', data: hex([2], withLength(address)) }],
  balanceRequest: [{ protocol: 'balance', data: hex([0]) }],
  balanceAnswer: (amount) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(BigInt(amount))
    return [{ protocol: 'balance', data: hex([2, 8], bytes) }]
  },
  vouch: (operation, address) => [{ protocol: 'vouch', data: hex([operation], withLength(address)) }],
  payment: (amount, account) => [
    { protocol: 'ilp', data: ilp.serializeIlpPayment({ amount, account, data: '' }).toString('hex') }
  ]
}

module.exports = { encode, decode, entries }
