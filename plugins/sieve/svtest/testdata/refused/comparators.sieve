require ["comparator-i;ascii-numeric", "comparator-i;octet", "comparator-i;ascii-casemap"];
if header :comparator "i;nonesuch" "subject" "x" {}
if header :comparator 5 "subject" "x" {}
if header :contains :comparator "i;ascii-numeric" "subject" "1" {}
