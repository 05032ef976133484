package worker

import (
	"fmt"
	"os"
)

// Arg is the argument with which the program becomes a worker.
const Arg = "lua-worker"

// confinedArg follows Arg once the process has given up what it can.
const confinedArg = "confined"

// Main is a worker's whole life; it returns the exit status. args are what
// follows Arg. The socket is standard input.
func Main(args []string) int {
	var err error
	if len(args) == 0 {
		err = confine(self(), confinedArg) // comes back here, as another process image
	} else {
		err = serve(os.Stdin, &frame{Kind: kindHello, Number: int64(Landlock())})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lua-worker:", err)
		return 1
	}
	return 0
}

// self is this program, also when a newer one has taken its place.
func self() string {
	const link = "/proc/self/exe"
	if _, err := os.Stat(link); err == nil {
		return link
	}
	return os.Args[0]
}
