require ["date"];
if date :zone "xyz" "date" "hour" "1" {}
if date :originalzone :zone "+0000" "date" "hour" "1" {}
if currentdate :originalzone "hour" "1" {}
if date "date" "x" {}
