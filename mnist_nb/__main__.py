"`python -m mnist_nb` is `mnist-nb`."

from .cli import main

if __name__ == "__main__":
    main()
