require ["index"];
if header :index 0 "x" "y" {}
if header :last "x" "y" {}
if header :index "1" "x" "y" {}
