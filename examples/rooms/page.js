const $ = id => document.getElementById(id)
let user
let token
let room

async function login() {
  const answer = await fetch('login', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user }),
  })
  const { token: fresh, rooms } = await answer.json()
  token = fresh
  return rooms
}

function line(list, text, quiet) {
  const item = document.createElement('li')
  item.textContent = text
  if (quiet) item.className = 'quiet'
  $(list).append(item)
  $(list).scrollTop = $(list).scrollHeight
}

/** An EventSource cannot send a header: it has a ticket, which is good for once. */
async function listenForAlerts() {
  const answer = await fetch('api/tickets', { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  const { ticket } = await answer.json()
  const alerts = new EventSource(`topics/alerts?ticket=${ticket}`)
  alerts.onmessage = ({ data }) => {
    $('alert').textContent = data
  }
  alerts.onerror = () => {
    alerts.close()
    setTimeout(listenForAlerts, 2000)
  }
}

async function showPresence(subscription) {
  const { clients } = await subscription.presence()
  const users = new Set(Object.values(clients).map(each => each.user))
  $('here').replaceChildren()
  for (const each of [...users].sort()) line('here', each)
}

function enter(centrifuge, name) {
  if (room) {
    room.unsubscribe()
    centrifuge.removeSubscription(room)
  }
  $('said').replaceChildren()
  room = centrifuge.newSubscription(name, { joinLeave: true })
  room.on('subscribed', () => showPresence(room))
  room.on('publication', ({ data }) => line('said', `${data.from ?? '?'}: ${data.text}`))
  room.on('join', ({ info }) => {
    line('said', `${info.user} came`, true)
    showPresence(room)
  })
  room.on('leave', ({ info }) => {
    line('said', `${info.user} left`, true)
    showPresence(room)
  })
  room.on('unsubscribed', ({ reason }) => line('said', reason, true))
  room.subscribe()
}

$('login').addEventListener('submit', async event => {
  event.preventDefault()
  user = $('user').value
  for (const name of await login()) $('rooms').add(new Option(name.replace('rooms/', ''), name))
  const socket = new URL('connection/websocket', location.href.replace(/^http/, 'ws'))
  // Asked again by itself before the token ends, and whenever the hub says that it has.
  const centrifuge = new Centrifuge(socket.href, { token, getToken: () => login().then(() => token) })
  centrifuge.on('state', ({ newState }) => {
    $('state').textContent = newState
  })
  centrifuge.on('disconnected', ({ reason }) => line('said', `disconnected: ${reason}`, true))
  centrifuge.connect()
  enter(centrifuge, $('rooms').value)
  $('rooms').addEventListener('change', () => enter(centrifuge, $('rooms').value))
  $('say').addEventListener('submit', async said => {
    said.preventDefault()
    const text = $('text').value
    $('text').value = ''
    if (text !== '') await room.publish({ from: user, text }).catch(error => line('said', error.message, true))
  })
  $('login').hidden = true
  $('room').hidden = false
  await listenForAlerts()
})
