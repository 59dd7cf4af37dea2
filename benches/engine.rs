//! The time that the parts of a job take.

use criterion::{Criterion, criterion_group, criterion_main};

mod cases;

struct Clock<'a>(&'a mut Criterion);

impl cases::Measure for Clock<'_> {
    fn case(&mut self, name: &str, run: &mut dyn FnMut()) {
        self.0.bench_function(name, |bencher| bencher.iter(&mut *run));
    }
}

fn engine(criterion: &mut Criterion) {
    cases::all(&mut Clock(criterion));
}

criterion_group!(benches, engine);
criterion_main!(benches);
