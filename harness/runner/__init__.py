# SPDX-License-Identifier: GPL-2.0
"""The runner: plans cases, runs them in guests or on this machine, compares, stores and reports.

It never decides what the data says (harness/judge does) and never writes to a file under test
(the executor does). Which room holds what:

	cli        the commands and their options          main        what a run is made of
	deps       what the machine must have               store       results/<run>/
	fsconfig   fs-configs/*.conf, local.config          table       the two tables
	plan       cases out of names and filters           report      `report` and `compare`
	agent      the executor's protocol                  expect      harness/expected/*.conf
	machines   a guest or this machine, one interface   klog        kernel log lines by severity
	native     loop images, the ownership ledger        neighbour   fio on the same filesystem
	fsops      mkfs, mount, fsck through an agent       judge       the judge as a subprocess
	execute    one kernel: its machine and filesystems  batch       one filesystem: its cases
"""
