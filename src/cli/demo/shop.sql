-- The demo's shop: what its back-end services write. Rowcall only watches these tables; nothing in
-- them is there for Rowcall.

create table public.customers (
    id            bigint primary key generated always as identity,
    name          text not null,
    email         text not null,
    card_number   text,
    internal_note text,
    created_at    timestamptz not null default now()
);

create table public.orders (
    id          bigint primary key generated always as identity,
    customer_id bigint not null references public.customers,
    status      text not null default 'new'
        check (status in ('new', 'released', 'shipped', 'cancelled')),
    total       numeric(12, 2) not null default 0 check (total >= 0),
    placed_at   timestamptz not null default now()
);

create index orders_customer on public.orders (customer_id);

create table public.stock (
    sku     text primary key,
    name    text not null,
    price   numeric(10, 2) not null check (price >= 0),
    on_hand integer not null check (on_hand >= 0)
);

create table public.order_items (
    order_id bigint not null references public.orders on delete cascade,
    line     integer not null check (line > 0),
    sku      text not null references public.stock,
    quantity integer not null check (quantity > 0),
    price    numeric(10, 2) not null check (price >= 0),
    primary key (order_id, line)
);
