require ["foreverypart"];
break;
foreverypart;
foreverypart :name 5 {}
foreverypart { break :name "other"; }
