//! What the shop's services do: each function is one transaction's work, in ordinary SQL.
//!
//! A [`Basket`] collects what the transaction changed, to be entered in the ledger once it is
//! committed. Rows are locked in one order, orders before stock and stock by SKU, so deadlocks are
//! rare.

pub(super) mod store;

use self::store::{
    Line, Undone, customer_insert, customer_update, item_delete, item_insert, order_advance,
    order_cancel, order_insert, order_newest, order_total, savepoint, stock_refill, stock_take,
};
use super::ledger::Change;
use crate::db::Connection;

/// Customers and articles that are there before the demo begins. Customer 1 is left to whoever
/// watches the demo.
pub(super) const CUSTOMERS: i64 = 200;
pub(super) const SKUS: i64 = 40;

/// Orders that are still looked at, counted from the newest.
const ORDERS_RECENT: u64 = 200;

/// What a transaction has changed so far.
#[derive(Default)]
pub(super) struct Basket {
    pub(super) changes: Vec<Change>,
    pub(super) savepoints_rolled_back: u64,
}

impl Basket {
    fn add(&mut self, event_type: &'static str, key: &dyn ToString) {
        self.changes.push(Change {
            event_type,
            key: key.to_string(),
            released: None,
        });
    }
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Business {
    PlaceOrder,
    AdvanceOrder,
    CancelOrder,
    ChangeCustomers,
    Refill,
}

impl Business {
    /// As it comes: mostly orders.
    pub(super) fn drawn() -> Self {
        match below(100) {
            0..35 => Self::PlaceOrder,
            35..70 => Self::AdvanceOrder,
            70..78 => Self::CancelOrder,
            78..94 => Self::ChangeCustomers,
            _ => Self::Refill,
        }
    }

    pub(super) fn run(
        self,
        connection: &mut Connection,
        basket: &mut Basket,
    ) -> Result<(), Undone> {
        match self {
            Self::PlaceOrder => place_order(connection, basket),
            Self::AdvanceOrder => advance_order(connection, basket),
            Self::CancelOrder => cancel_order(connection, basket),
            Self::ChangeCustomers => change_customers(connection, basket),
            Self::Refill => refill(connection, basket),
        }
    }
}

fn place_order(connection: &mut Connection, basket: &mut Basket) -> Result<(), Undone> {
    let customer = if below(4) == 0 {
        let id = customer_insert(connection, &format!("Customer{}", below(1_000_000)))?;
        basket.add("shop.customer.created", &id);
        id
    } else {
        customer_drawn()
    };
    let order = order_insert(connection, customer)?;
    basket.add("shop.order.created", &order);
    for line in lines_drawn() {
        let before = basket.changes.len();
        let added = savepoint(connection, |connection| {
            item_insert(connection, order, &line)?;
            basket.add("shop.item.created", &format!("{order}/{}", line.line));
            let is_enough = stock_take(connection, &line.sku, line.quantity)?;
            if is_enough {
                basket.add("shop.stock.updated", &line.sku);
            }
            // Some customers think again when they see the price.
            if is_enough && below(20) > 0 {
                Ok(())
            } else {
                Err(Undone::OnPurpose)
            }
        });
        match added {
            Ok(()) => {}
            Err(Undone::OnPurpose) => {
                basket.changes.truncate(before);
                basket.savepoints_rolled_back += 1;
            }
            Err(error) => return Err(error),
        }
    }
    order_total(connection, order)?;
    basket.add("shop.order.updated", &order);
    Ok(())
}

fn advance_order(connection: &mut Connection, basket: &mut Basket) -> Result<(), Undone> {
    let order = order_drawn(connection)?;
    if let Some(advanced) = order_advance(connection, order)? {
        basket.changes.push(Change {
            event_type: "shop.order.updated",
            key: order.to_string(),
            released: advanced.is_released.then_some(advanced.cents),
        });
    }
    Ok(())
}

fn cancel_order(connection: &mut Connection, basket: &mut Basket) -> Result<(), Undone> {
    let order = order_drawn(connection)?;
    if !order_cancel(connection, order)? {
        return Ok(());
    }
    basket.add("shop.order.updated", &order);
    let mut lines = item_delete(connection, order)?;
    lines.sort_unstable_by(|a, b| a.sku.cmp(&b.sku));
    for Line {
        line,
        sku,
        quantity,
    } in lines
    {
        basket.add("shop.item.deleted", &format!("{order}/{line}"));
        if stock_take(connection, &sku, -quantity)? {
            basket.add("shop.stock.updated", &sku);
        }
    }
    Ok(())
}

fn change_customers(connection: &mut Connection, basket: &mut Basket) -> Result<(), Undone> {
    let how_many = if below(8) == 0 { 5 } else { 1 };
    let mailbox = format!("mailbox{}-", below(1_000_000));
    for id in customer_update(connection, customer_drawn(), how_many, &mailbox)? {
        basket.add("shop.customer.updated", &id);
    }
    Ok(())
}

fn refill(connection: &mut Connection, basket: &mut Basket) -> Result<(), Undone> {
    for sku in stock_refill(connection, 3)? {
        basket.add("shop.stock.updated", &sku);
    }
    Ok(())
}

fn customer_drawn() -> i64 {
    2 + below(CUSTOMERS as u64 - 1) as i64
}

fn order_drawn(connection: &mut Connection) -> Result<i64, Undone> {
    Ok(order_newest(connection)? - below(ORDERS_RECENT) as i64)
}

/// One to three lines of different articles, by SKU.
fn lines_drawn() -> Vec<Line> {
    let count = 1 + below(3);
    let first = below(SKUS as u64);
    // Some articles are wanted by everyone, so that writers meet on their rows.
    let first = if below(3) == 0 { 0 } else { first };
    let mut skus: Vec<String> = (0..count)
        .map(|n| format!("sku-{}", 1 + (first + n) % SKUS as u64))
        .collect();
    skus.sort_unstable();
    skus.into_iter()
        .zip(1..)
        .map(|(sku, line)| Line {
            line,
            sku,
            quantity: 1 + below(5) as i32,
        })
        .collect()
}

/// A random number below `limit`. Its quality hardly matters here.
pub(super) fn below(limit: u64) -> u64 {
    getrandom::u64().unwrap_or(0) % limit.max(1)
}
