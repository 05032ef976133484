package sieve_test

import (
	"context"
	"fmt"

	"mtad/sieve"
)

// letter is the least that a message can be.
type letter struct {
	sieve.NoBody
	subject, from string
}

func (l letter) Header(name string) []string {
	if name == "SUBJECT" {
		return []string{l.subject}
	}
	return nil
}

func (l letter) Addresses(string) [][]sieve.Address {
	return [][]sieve.Address{{{Local: l.from, Domain: "example.org"}}}
}

func (l letter) Size() int64 { return 1000 }

func Example() {
	script, problems := sieve.Compile(`
		require ["fileinto", "variables", "imap4flags"];
		if header :matches "Subject" "[*] *" {
			fileinto :flags "$List" "lists/${1}";
		}`, sieve.Options{})
	if script == nil {
		fmt.Print(problems)
		return
	}
	for _, m := range []letter{{subject: "[dev] Release", from: "al"}, {subject: "Lunch?", from: "bo"}} {
		result, err := script.Run(context.Background(), sieve.Env{Message: m})
		fmt.Println(result.Actions, err)
	}
	// Output:
	// [fileinto "lists/dev" [$List]] <nil>
	// [keep (implicit)] <nil>
}

func ExampleCompile_problems() {
	_, problems := sieve.Compile("require \"fileinto\";\nfileinot \"Junk\";\naddflag \"x\";\n", sieve.Options{})
	fmt.Print(problems)
	// Output:
	// 2:1: error: unknown command "fileinot"
	//     fileinot "Junk";
	//     ^~~~~~~~
	//     did you mean fileinto?
	// 3:1: error: addflag needs the extension imap4flags
	//     addflag "x";
	//     ^~~~~~~
	//     add "imap4flags" to require
}
