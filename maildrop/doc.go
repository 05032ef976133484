// Package maildrop is how programs hand in mail: the form of a message with its
// envelope, and the directory that takes such files from every user of the system,
// also while no server runs. No program needs privileges for it: everybody may add
// files to the directory (sticky, not to be listed), whose group may read them.
// The server looks at what is there with suspicion: [Scanner].
package maildrop
