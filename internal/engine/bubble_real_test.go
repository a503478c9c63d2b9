//go:build !synctests

package engine

import "time"

// Without the build tag synctests the tests run in real time, with timeouts as short as they can be.
const sessionTimeout, transactionTimeout = 1200 * time.Millisecond, time.Second

// Time is dear: faults share clusters, and chaos is short.
const faultsPerWorld, chaosSteps = 16, 12

// How often epochs change at random.
const epochSwitches = 10

// slack is by how much things may take longer than they should, where time is measured.
const slack = 4
