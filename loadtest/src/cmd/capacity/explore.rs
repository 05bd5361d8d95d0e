//! What loads make a server do: the data that the defaults of the model behind `/capacity` come from.

use super::drive::{Load, Shape, Used};
use super::{Arguments, apart, own, print_json, server};
use serde::Serialize;
use veza_loadtest::server::Server;

/// A load, and what the server did under it, per second.
#[derive(Serialize)]
struct Row {
    shape: Shape,
    shards: u16,
    used: Used,
}

impl Arguments {
    /// Each load on a server of its own, all by turns, so that what the machine does besides is the same for all.
    pub(super) fn explore(&self) -> Result<bool, String> {
        let rows = apart(self.shards, || {
            let servers: Vec<_> = self.explore.iter().map(|_| server(self.store.into(), self.shards)).collect();
            self.measure(&servers.iter().map(|(server, _)| server).collect::<Vec<_>>())
        })?;
        for row in &rows {
            let (used, shape) = (&row.used, row.shape);
            let rates: Vec<String> = used.server.keys().map(|name| format!("{name} {:.3}", used.rate(name))).collect();
            println!("{shape}: {}; generator {:.2}", rates.join(", "), used.generator_s / used.seconds);
        }
        print_json("capacity --explore", &rows)?;
        Ok(true)
    }

    fn measure(&self, servers: &[&Server]) -> Result<Vec<Row>, String> {
        let mut loads = Vec::new();
        for (server, shape) in servers.iter().zip(&self.explore) {
            loads.push(Load::new(&own(server), shape, "explore")?);
        }
        let mut used = vec![Used::default(); loads.len()];
        for _ in 0..self.turns {
            for (index, used) in used.iter_mut().enumerate() {
                loads.iter_mut().try_for_each(Load::live)?;
                used.add(&loads[index].talk(f64::from(self.seconds), || Ok(()))?);
            }
        }
        let row = |(shape, used): (&Shape, Used)| Row { shape: *shape, shards: self.shards, used };
        Ok(self.explore.iter().zip(used).map(row).collect())
    }
}
