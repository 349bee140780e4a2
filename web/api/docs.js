/** Shows the OpenAPI document of the hub that served this page. Everything is put in as text. */

const byId = id => document.getElementById(id)

/** An element with attributes and children; undefined and false children are left out. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.append(...children.flat().filter(child => child !== undefined && child !== false && child !== ''))
  return made
}

/** Text with `code` in it. */
function prose(text = '') {
  return text
    .split(/\n\n+/)
    .map(paragraph =>
      element('p', {}, ...paragraph.split('`').map((part, index) => (index % 2 ? element('code', {}, part) : part))),
    )
}

async function load(key) {
  const answer = await fetch('openapi.json', key ? { headers: { authorization: `Bearer ${key}` } } : {})
  byId('login').hidden = answer.status !== 401 && answer.status !== 403
  if (!answer.ok) {
    const body = await answer.json().catch(() => undefined)
    // Nobody has done anything wrong yet.
    const message = answer.status === 401 && !key ? '' : (body?.error?.message ?? `the hub answered ${answer.status}`)
    byId('state').textContent = message
    byId('login').hidden ? undefined : byId('key').focus()
    return
  }
  show(await answer.json())
}

function show(api) {
  byId('login').hidden = true
  const link = element('a', { href: 'openapi.json' }, 'openapi.json')
  byId('about').replaceChildren(
    ...prose(api.info.description),
    element('p', { class: 'soft' }, `Version ${api.info.version}, OpenAPI ${api.openapi}: `, link),
  )
  const all = Object.entries(api.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
  byId('groups').replaceChildren(
    ...api.tags.map(({ name }) => element('li', {}, element('a', { href: `#group-${name}` }, name))),
  )
  byId('operations').replaceChildren(
    ...api.tags.map(({ name }) =>
      element(
        'section',
        { 'aria-labelledby': `group-${name}` },
        element('h2', { id: `group-${name}` }, name),
        ...all.filter(({ operation }) => operation.tags.includes(name)).map(each => operationOf(each, api)),
      ),
    ),
  )
  byId('find').disabled = false
  open(location.hash)
}

function operationOf({ method, path, operation }, api) {
  const id = operation.operationId
  const found = `${method} ${path} ${operation.summary}`.toLowerCase()
  return element(
    'details',
    { id, 'data-found': found },
    element(
      'summary',
      {},
      element('span', { class: `method ${method.toLowerCase()}` }, method),
      element('code', { class: 'path' }, ...path.split(/(?<=\/)/).flatMap(part => [part, element('wbr')])),
      element('span', { class: 'what' }, operation.summary),
    ),
    element(
      'div',
      { class: 'inside' },
      ...prose(operation.description),
      parametersOf(operation.parameters),
      bodyOf(operation.requestBody, api),
      element('h3', {}, 'Answers'),
      ...Object.entries(operation.responses).map(([status, response]) => responseOf(status, response, api)),
    ),
  )
}

function parametersOf(parameters) {
  if (parameters.length === 0) return undefined
  const rows = parameters.map(({ name, in: place, required, description, schema }) =>
    fieldOf(name, schema, { required, description, place }),
  )
  return [element('h3', {}, 'Parameters'), element('ul', { class: 'fields' }, ...rows)]
}

function bodyOf(body, api) {
  if (body === undefined) return undefined
  const contents = Object.entries(body.content).map(([type, { schema }]) => contentOf(type, schema, api))
  return [element('h3', {}, 'Body'), ...prose(body.description), ...contents]
}

function responseOf(status, { description, content = {} }, api) {
  const contents = Object.entries(content)
    // The form of errors is told once, on the page about errors.
    .filter(([, { schema }]) => schema.$ref === undefined)
    .map(([type, { schema }]) => contentOf(type, schema, api))
  const kind = status[0] === '2' ? 'good' : 'bad'
  return element(
    'div',
    { class: 'answer' },
    element('span', { class: `status ${kind}` }, status),
    element('div', {}, ...prose(description), ...contents),
  )
}

function contentOf(type, schema, api) {
  return element('div', { class: 'content' }, element('span', { class: 'soft' }, type), fieldsOf(resolve(schema, api)))
}

function resolve(schema, api) {
  if (!schema?.$ref) return schema
  return schema.$ref
    .split('/')
    .slice(1)
    .reduce((at, name) => at[name], api)
}

/** The fields of an object, a list of objects, or each form that something may have. */
function fieldsOf(schema = {}) {
  const { properties, items, anyOf, oneOf, additionalProperties, required = [] } = schema
  const forms = anyOf ?? oneOf
  if (forms?.some(form => form.properties))
    return element(
      'ul',
      { class: 'fields forms' },
      ...forms.map(form => element('li', {}, element('span', { class: 'type' }, typeOf(form)), fieldsOf(form))),
    )
  if (properties) {
    const rows = Object.entries(properties).map(([name, field]) =>
      fieldOf(name, field, { required: required.includes(name) }),
    )
    return element('ul', { class: 'fields' }, ...rows)
  }
  if (items) return fieldsOf(items)
  return additionalProperties?.properties ? fieldsOf(additionalProperties) : ''
}

function fieldOf(name, schema, { required, description = schema.description, place }) {
  return element(
    'li',
    {},
    element('code', { class: 'name' }, name),
    element('span', { class: 'type' }, [typeOf(schema), place, required && 'required'].filter(Boolean).join(', ')),
    limitsOf(schema),
    description && element('span', { class: 'told' }, description),
    fieldsOf(schema),
  )
}

function typeOf({ $ref, type, items, anyOf, oneOf, additionalProperties }) {
  if ($ref) return $ref.split('/').at(-1)
  const forms = anyOf ?? oneOf
  if (forms && type === undefined) return [...new Set(forms.map(typeOf))].join(' or ')
  if (type === 'array') return `list of ${typeOf(items ?? {})}`
  if (type === 'object' && additionalProperties && additionalProperties !== true)
    return `object of ${typeOf(additionalProperties)}`
  return [type ?? 'any'].flat().join(' or ')
}

/** What a value may be, where the schema says so. Zod's bounds of a safe integer say nothing. */
function limitsOf(schema) {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, default: usual } = schema
  const bound = value => (value === undefined || Math.abs(value) >= Number.MAX_SAFE_INTEGER ? undefined : value)
  const range = (from, to, unit) => {
    const [low, high] = [bound(from), bound(to)]
    if (low === undefined && high === undefined) return ''
    if (low === undefined) return `at most ${high}${unit}`
    // That a count is not negative need not be said.
    if (high === undefined) return low === 0 ? '' : `at least ${low}${unit}`
    return `${low} to ${high}${unit}`
  }
  const parts = [
    schema.enum?.join(' | '),
    range(minimum, maximum, ''),
    range(minLength, maxLength, ' characters'),
    range(minItems, maxItems, ' entries'),
    usual !== undefined && typeof usual !== 'object' && `default ${usual}`,
  ].filter(Boolean)
  return parts.length > 0 && element('span', { class: 'limits' }, parts.join('; '))
}

/** A link to an operation opens it. */
function open(hash) {
  const target = byId(decodeURIComponent(hash.slice(1)))
  if (target?.tagName === 'DETAILS') target.open = true
  target?.scrollIntoView()
}

byId('find').addEventListener('input', ({ target }) => {
  const words = target.value.toLowerCase().split(/\s+/)
  for (const section of document.querySelectorAll('main section')) {
    let shown = 0
    for (const each of section.querySelectorAll('details')) {
      each.hidden = !words.every(word => each.dataset.found.includes(word))
      if (!each.hidden) shown++
    }
    section.hidden = shown === 0
  }
})
byId('login').addEventListener('submit', event => {
  event.preventDefault()
  const { value } = byId('key')
  byId('key').value = ''
  void load(value)
})
addEventListener('hashchange', () => open(location.hash))
document.addEventListener(
  'toggle',
  ({ target }) => {
    if (target.tagName === 'DETAILS' && target.open) history.replaceState(null, '', `#${target.id}`)
  },
  true,
)

load().catch(() => {
  byId('state').textContent = 'the hub does not answer'
})
