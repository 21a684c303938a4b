from outboxd.commands.main import main

main()
