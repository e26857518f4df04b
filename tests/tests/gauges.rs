//! Every scripted life of sockets, with the gauges compared at each of its checkpoints.

use tcpstate_tests::{netns::Namespace, paths, traced::Traced};

#[test]
fn gauges_equal_the_kernel_at_every_checkpoint_of_every_path() {
    for path in paths::ALL {
        let _namespace = Namespace::enter();
        let mut traced = Traced::start();
        let mut checkpoints = 0;
        path.run(&mut |label: &str| {
            traced.assert_equal(label);
            checkpoints += 1;
        });
        println!("{}: equal at {checkpoints} checkpoints", path.name);
    }
}
