package feature

// Bounds on what is compiled and on what is read back. They keep a plan from an unknown hand from asking for more
// memory than the machine has; real pipelines stay far below.
const (
	maxExpression = 16 << 10 // bytes of one expression
	maxFeatures   = 4096
	maxInputs     = 8192
	maxProgram    = 32768    // values of a plan
	maxArguments  = 3        // of an instruction
	maxBuilding   = 1 << 18  // values before those that no input needs are dropped
	maxPlanBytes  = 32 << 20 // of an encoded plan
	maxPattern    = 1000     // bytes of a regular expression
	maxPatternOps = 5000     // its instructions once repetitions are written out
	maxPatterns   = 256      // different regular expressions of a plan
	maxList       = 65535    // elements to the right of "in"
	maxLevels     = 65535    // of an enum input
	maxSeeds      = 4096     // levels kept of an enum field that no input uses as it is
	maxText       = 64 << 10 // bytes of a text that an expression makes
)

// tile is the number of rows that run through a program at a time: large enough that the cost of an
// instruction's dispatch vanishes, small enough that the registers of a plan stay in the processor's cache.
const tile = 512

// levelTile is the same for the levels of an enum field. They are few, and run once.
const levelTile = 64
